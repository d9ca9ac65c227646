/* What train.c needs of TensorFlow Lite's C API: opaque types and prototypes, written down here because neither the
 * wheels nor Debian have its headers. Documented at https://ai.google.dev/edge/litert. They hold for the library of
 * TensorFlow Lite 2.17, and for any other that exports these names. */
#ifndef EARMARK_TFLITE_H
#define EARMARK_TFLITE_H
#include <stddef.h>
#include <stdint.h>

typedef struct TfLiteModel TfLiteModel;
typedef struct TfLiteInterpreterOptions TfLiteInterpreterOptions;
typedef struct TfLiteInterpreter TfLiteInterpreter;
typedef struct TfLiteSignatureRunner TfLiteSignatureRunner;
typedef struct TfLiteTensor TfLiteTensor;
typedef int TfLiteStatus; /* 0: done */
typedef int TfLiteType;
enum { TFLITE_FLOAT32 = 1, TFLITE_INT32 = 2 };

const char *TfLiteVersion(void);
TfLiteModel *TfLiteModelCreate(const void *bytes, size_t count); /* the bytes must outlive the model */
void TfLiteModelDelete(TfLiteModel *);
TfLiteInterpreterOptions *TfLiteInterpreterOptionsCreate(void);
void TfLiteInterpreterOptionsSetNumThreads(TfLiteInterpreterOptions *, int32_t threads);
void TfLiteInterpreterOptionsDelete(TfLiteInterpreterOptions *);
TfLiteInterpreter *TfLiteInterpreterCreate(const TfLiteModel *, const TfLiteInterpreterOptions *);
void TfLiteInterpreterDelete(TfLiteInterpreter *);

TfLiteSignatureRunner *TfLiteInterpreterGetSignatureRunner(const TfLiteInterpreter *, const char *key);
TfLiteStatus TfLiteSignatureRunnerAllocateTensors(TfLiteSignatureRunner *);
size_t TfLiteSignatureRunnerGetInputCount(const TfLiteSignatureRunner *);
const char *TfLiteSignatureRunnerGetInputName(const TfLiteSignatureRunner *, int32_t number);
TfLiteTensor *TfLiteSignatureRunnerGetInputTensor(TfLiteSignatureRunner *, const char *name);
size_t TfLiteSignatureRunnerGetOutputCount(const TfLiteSignatureRunner *);
const char *TfLiteSignatureRunnerGetOutputName(const TfLiteSignatureRunner *, int32_t number);
const TfLiteTensor *TfLiteSignatureRunnerGetOutputTensor(const TfLiteSignatureRunner *, const char *name);
TfLiteStatus TfLiteSignatureRunnerInvoke(TfLiteSignatureRunner *);
void TfLiteSignatureRunnerDelete(TfLiteSignatureRunner *);

TfLiteType TfLiteTensorType(const TfLiteTensor *);
int32_t TfLiteTensorNumDims(const TfLiteTensor *);
int32_t TfLiteTensorDim(const TfLiteTensor *, int32_t number);
size_t TfLiteTensorByteSize(const TfLiteTensor *);
void *TfLiteTensorData(const TfLiteTensor *);
#endif
