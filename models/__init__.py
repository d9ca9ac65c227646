"""The shipped networks (TensorFlow Lite files) and the recipes that build them."""
