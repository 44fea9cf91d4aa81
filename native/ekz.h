/* Decoder for .ekz, edgekit's container of compressed network weights. C99, no dependencies beyond the C library.
 *
 *     struct ekz box;
 *     if (ekz_open(&box, data, size) != EKZ_OK) fail(box.error);
 *     use(box.tensors[0].name, box.tensors[0].data);
 *     uint8_t *model = malloc(box.files[0].size);            // the .tflite or .onnx, byte for byte
 *     if (ekz_restore(&box, 0, model) != EKZ_OK) fail(box.error);
 *     ekz_close(&box);
 *
 * Every tensor has been checked against its checksum when ekz_open returns EKZ_OK, every file when ekz_restore does.
 * The data handed to ekz_open must outlive the box. docs/ekz-format.md describes the format.
 */
#ifndef EKZ_H
#define EKZ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ekz_status { EKZ_OK = 0, EKZ_DAMAGED = 1, EKZ_TOO_NEW = 2, EKZ_NO_MEMORY = 3 };

enum ekz_dtype {
    EKZ_UINT8, EKZ_INT8, EKZ_UINT16, EKZ_INT16, EKZ_UINT32, EKZ_INT32, EKZ_UINT64, EKZ_INT64,
    EKZ_FLOAT16, EKZ_FLOAT32, EKZ_FLOAT64
};

struct ekz_block;

/* A tensor: row-major, little-endian elements. name ends with a zero byte. */
struct ekz_tensor {
    char *name;
    int dtype, method, rank;
    uint64_t shape[8], count;
    size_t bytes, payload;
    uint32_t crc;
    uint8_t *data;
};

/* A place of a tensor in a file: bytes of skeleton before it, and its axes' order there (rank 0: as it is stored). */
struct ekz_hole {
    uint64_t gap;
    uint32_t tensor;
    uint8_t rank, axes[8];
};

/* A file that ekz_restore can write: `size` bytes; format is "tflite", "onnx" or "file". */
struct ekz_file {
    char *format;
    size_t size, packed, skeleton;
    uint32_t crc, holes;
    struct ekz_hole *hole;
    const uint8_t *data;
};

struct ekz {
    char *metadata, *graph; /* JSON texts; graph is empty where the container restores a file only */
    struct ekz_tensor *tensors;
    struct ekz_file *files;
    uint32_t tensor_count, file_count;
    struct ekz_block *memory, *scratch; /* the decoder's own; ekz_close gives them back */
    int status;      /* what the last call returned */
    char error[200]; /* one line, after a status other than EKZ_OK */
};

/* Decode everything in a container. After a failure nothing is held; box->error says what is wrong and with what. */
int ekz_open(struct ekz *box, const void *data, size_t size);

/* Write file `index`, box->files[index].size bytes, to out. */
int ekz_restore(struct ekz *box, uint32_t index, uint8_t *out);

void ekz_close(struct ekz *box);

#ifdef __cplusplus
}
#endif
#endif
