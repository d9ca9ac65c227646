/* Trains a TFLite model by its own training signatures, without Python. docs/trainable_heads.md explains it.
 *
 *   train MODEL DATA CHECKPOINT STEPS [CALL[*N]…]
 *
 * MODEL has the signatures initialize, get_weights, set_weights and the CALLs. DATA is a folder with NAME.npy for
 * each input. CHECKPOINT is a .npy with one record, which holds what get_weights gives: where there is one, training
 * goes on from it; after STEPS steps it is replaced in one move. A step is the CALLs in their order, or `train`; what
 * one gives out is there for those after it, by name. CALL*N is made N times, with the N parts of its inputs, and its
 * outputs are put together again: micro-batches. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tflite.h"

enum { MOST = 64, NAME = 96, PATH = 4096 };
typedef struct { char name[NAME]; TfLiteType type; size_t bytes; unsigned char *data; } Array;
static Array board[MOST]; /* everything that has a name: data, outputs, weights */
static struct { char name[NAME]; TfLiteSignatureRunner *run; } opened[MOST];
static int arrays, signatures; /* of them */
static TfLiteInterpreter *interpreter;
static const char *folder; /* DATA */

static _Noreturn void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(2);
}

static void *own(size_t bytes) {
    void *memory = calloc(1, bytes + 1); /* text that is read ends */
    if (!memory) fail("no memory for %zu bytes", bytes);
    return memory;
}

static unsigned char *read_file(const char *path, size_t *bytes) { /* NULL: it is not there */
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    *bytes = fseek(file, 0, SEEK_END) || ftell(file) < 0 ? 0 : (size_t)ftell(file);
    unsigned char *data = own(*bytes);
    rewind(file);
    if (fread(data, 1, *bytes, file) != *bytes || fclose(file)) fail("%s: cannot be read", path);
    return data;
}

static uint32_t crc32(uint32_t crc, const unsigned char *data, size_t bytes) { /* as zlib's: begins with 0 */
    for (crc = ~crc; bytes--; data++)
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & -((crc ^ *data >> bit) & 1));
    return ~crc;
}

static Array *find(const char *name) {
    for (int i = 0; i < arrays; i++) if (!strcmp(board[i].name, name)) return &board[i];
    return NULL;
}

static Array *keep(const char *name, TfLiteType type, size_t bytes) { /* there under this name, and of this size */
    Array *array = find(name);
    if (type != TFLITE_FLOAT32 && type != TFLITE_INT32) fail("%s: must be float32 or int32", name);
    if (!array && (arrays == MOST || strlen(name) >= NAME)) fail("%s: too many arrays, or too long a name", name);
    if (!array) strcpy((array = &board[arrays++])->name, name);
    if (array->bytes != bytes || !array->data) { free(array->data); array->data = own(bytes); }
    array->type = type, array->bytes = bytes;
    return array;
}

static Array *need(const char *call, const char *name) { /* from DATA where no call has given it */
    char path[PATH];
    size_t bytes;
    if (find(name)) return find(name);
    snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    unsigned char *npy = read_file(path, &bytes);
    if (!npy) fail("%s: is not there, and %s wants %s: write it with numpy.save", path, call, name);
    size_t from = bytes < 10 ? 0 : 10u + npy[8] + 256u * npy[9];
    if (bytes < 10 || memcmp(npy, "\x93NUMPY\x01", 7) || from > bytes) fail("%s: is not a whole .npy file", path);
    Array *array = keep(name, TFLITE_FLOAT32, bytes - from);
    memcpy(array->data, npy + from, bytes - from);
    npy[from] = 0; /* the header is text up to here */
    const char *head = (const char *)npy + 10, *is_float = strstr(head, "'<f4'");
    if (strstr(head, "'fortran_order': True") || (!is_float && !strstr(head, "'<i4'")))
        fail("%s: must be float32 or int32 in C order: numpy.ascontiguousarray(x, numpy.float32)", path);
    if (!is_float) array->type = TFLITE_INT32;
    free(npy);
    return array;
}

static TfLiteSignatureRunner *open_signature(const char *name) {
    for (int i = 0; i < signatures; i++) if (!strcmp(opened[i].name, name)) return opened[i].run;
    TfLiteSignatureRunner *run = TfLiteInterpreterGetSignatureRunner(interpreter, name);
    if (!run || signatures == MOST || strlen(name) >= NAME || TfLiteSignatureRunnerAllocateTensors(run))
        fail("%s: this model has no such signature that runs here", name);
    strcpy(opened[signatures].name, name);
    return opened[signatures++].run = run;
}

static void call(const char *word) { /* NAME or NAME*N */
    char name[NAME] = "";
    size_t parts = 1;
    if (sscanf(word, "%95[^*]*%zu", name, &parts) < 1 || !parts) fail("%s: must be CALL or CALL*N", word);
    TfLiteSignatureRunner *run = open_signature(name);
    for (size_t part = 0; part < parts; part++) {
        for (int i = 0; i < (int)TfLiteSignatureRunnerGetInputCount(run); i++) { /* each time: tensors share memory */
            const char *input = TfLiteSignatureRunnerGetInputName(run, i);
            TfLiteTensor *tensor = TfLiteSignatureRunnerGetInputTensor(run, input);
            Array *array = need(name, input);
            size_t bytes = TfLiteTensorByteSize(tensor), every = array->bytes == bytes; /* one for every part */
            if (array->type != TfLiteTensorType(tensor) || (!every && array->bytes != bytes * parts))
                fail("%s: %s has %zu bytes, and must have %zu of %s", name, input, array->bytes, bytes * parts,
                     TfLiteTensorType(tensor) == TFLITE_FLOAT32 ? "float32" : "int32");
            memcpy(TfLiteTensorData(tensor), array->data + (every ? 0 : part * bytes), bytes);
        }
        if (TfLiteSignatureRunnerInvoke(run)) fail("%s: fails in TensorFlow Lite %s", name, TfLiteVersion());
        for (int i = 0; i < (int)TfLiteSignatureRunnerGetOutputCount(run); i++) {
            const char *output = TfLiteSignatureRunnerGetOutputName(run, i);
            const TfLiteTensor *tensor = TfLiteSignatureRunnerGetOutputTensor(run, output);
            size_t bytes = TfLiteTensorByteSize(tensor);
            Array *array = keep(output, TfLiteTensorType(tensor), bytes * parts);
            memcpy(array->data + part * bytes, TfLiteTensorData((TfLiteTensor *)tensor), bytes);
        }
    }
}

/* A .npy with one record: what get_weights gave, the model's checksum, and one of all before it; *top: its header. */
static unsigned char *record(uint32_t model, size_t *top, size_t *size) {
    TfLiteSignatureRunner *run = open_signature("get_weights");
    int count = (int)TfLiteSignatureRunnerGetOutputCount(run);
    char *all;
    FILE *file = open_memstream(&all, size); /* what goes wrong with it is said by fclose */
    fprintf(file, "\x93NUMPY\x01%3c{'descr': [", 0);
    for (int i = 0; i < count; i++) {
        const char *name = TfLiteSignatureRunnerGetOutputName(run, i);
        const TfLiteTensor *tensor = TfLiteSignatureRunnerGetOutputTensor(run, name);
        int rank = TfLiteTensorNumDims(tensor);
        fprintf(file, "('%s', '%s', (", name, find(name)->type == TFLITE_FLOAT32 ? "<f4" : "<i4");
        for (int k = 0; k < rank; k++) fprintf(file, k ? ", %d" : "%d", TfLiteTensorDim(tensor, k));
        fprintf(file, rank == 1 ? ",)), " : ")), ");
    }
    fprintf(file, "('model_crc32', '<u4'), ('crc32', '<u4')], 'fortran_order': False, 'shape': (), }");
    fprintf(file, "%*s\n", 63 - (int)ftell(file) % 64, ""); /* the header's length is a multiple of 64 */
    *top = (size_t)ftell(file);
    for (int i = 0; i < count; i++) {
        Array *array = find(TfLiteSignatureRunnerGetOutputName(run, i));
        fwrite(array->data, 1, array->bytes, file);
    }
    fwrite((uint32_t[]){model, 0}, 4, 2, file);
    if (fclose(file)) fail("no memory for a checkpoint");
    memcpy(all + 7, (unsigned char[]){0, (*top - 10) & 255, (unsigned char)((*top - 10) >> 8)}, 3);
    memcpy(all + *size - 4, &(uint32_t){crc32(0, (unsigned char *)all, *size - 4)}, 4);
    return (unsigned char *)all;
}

int main(int count, char **words) {
    if (count < 5) fail("usage: train MODEL DATA CHECKPOINT STEPS [CALL[*N]…]");
    char part[PATH], *path = words[3], *usual[] = {"train", NULL}, **calls = count > 5 ? words + 5 : usual;
    size_t bytes, saved, top, size;
    unsigned char *bytes_of_model = read_file(words[1], &bytes);
    TfLiteModel *model = bytes_of_model ? TfLiteModelCreate(bytes_of_model, bytes) : NULL; /* it checks them */
    TfLiteInterpreterOptions *options = TfLiteInterpreterOptionsCreate();
    TfLiteInterpreterOptionsSetNumThreads(options, 1);
    if (!model || !(interpreter = TfLiteInterpreterCreate(model, options))) fail("%s: is no TFLite model", words[1]);
    uint32_t of_model = crc32(0, bytes_of_model, bytes);
    folder = words[2];
    call("initialize");
    call("get_weights");
    unsigned char *now = record(of_model, &top, &size), *old = read_file(path, &saved);
    if (old && (saved < top || memcmp(old, now, top))) fail("%s: is no checkpoint of this model", path);
    if (old && (saved != size || memcmp(old + size - 4, &(uint32_t){crc32(0, old, size - 4)}, 4)))
        fail("%s: is not whole: take an older one, or none", path);
    if (old && memcmp(old + size - 8, &of_model, 4)) fail("%s: is a checkpoint of another model", path);
    for (int i = 0; old && i < (int)TfLiteSignatureRunnerGetOutputCount(open_signature("get_weights")); i++) {
        Array *array = find(TfLiteSignatureRunnerGetOutputName(open_signature("get_weights"), i));
        memcpy(array->data, old + top, array->bytes);
        top += array->bytes;
    }
    if (old) call("set_weights");
    for (int step = 1; step <= atoi(words[4]); step++) {
        for (char **name = calls; *name; name++) call(*name);
        Array *loss = find("loss");
        float value = loss ? *(float *)(void *)loss->data : 0;
        if (!isfinite(value)) fail("step %d: the loss is %f; %s is as it was", step, value, path);
        if (loss) printf("%d %.9g\n", step, value);
    }
    call("get_weights");
    free(now), now = record(of_model, &top, &size);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *file = fopen(part, "wb");
    if (!file || fwrite(now, 1, size, file) != size || fflush(file) || fsync(fileno(file)) || fclose(file))
        fail("%s: cannot be written", part);
    if (rename(part, path)) fail("%s: cannot be replaced", path);
    while (signatures--) TfLiteSignatureRunnerDelete(opened[signatures].run);
    while (arrays--) free(board[arrays].data);
    TfLiteInterpreterDelete(interpreter), TfLiteInterpreterOptionsDelete(options), TfLiteModelDelete(model);
    free(bytes_of_model), free(now), free(old);
}
