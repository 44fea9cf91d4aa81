/* Reads damaged containers, one after the other, and prints what became of each: the status and, where it is 0, a checksum
 * of all tensors and of the first file. Standard input: for each its length (4 bytes, little-endian), then its bytes. */
#include "ekz.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t sum_of(uint32_t sum, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) sum = (sum ^ data[i]) * 16777619u;
    return sum;
}

int main(void) {
    uint8_t head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        uint8_t *data = malloc(size ? size : 1); /* exactly as long, so that a sanitizer sees a byte too many */
        struct ekz box;
        uint32_t sum = 2166136261u;
        if (!data || fread(data, 1, size, stdin) != size) return 1;
        int status = ekz_open(&box, data, size);
        for (uint32_t i = 0; !status && i < box.tensor_count; i++) sum = sum_of(sum, box.tensors[i].data, box.tensors[i].bytes);
        if (!status && box.file_count) {
            uint8_t *out = malloc(box.files[0].size + 1);
            if (!out) return 1;
            status = ekz_restore(&box, 0, out);
            if (!status) sum = sum_of(sum, out, box.files[0].size);
            free(out);
        }
        printf("%d %08x %s\n", status, status ? 0 : (unsigned)sum, status ? box.error : "");
        ekz_close(&box);
        free(data);
    }
    return 0;
}
