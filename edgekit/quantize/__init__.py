"""Post-training int8 quantization: one set of scales that both writers carry."""
