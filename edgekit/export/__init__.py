"""Writers: TFLite and ONNX files from one graph."""
