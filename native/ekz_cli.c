/* ekz_cli IN.ekz: list the tensors. ekz_cli IN.ekz OUT [INDEX]: restore a file. ekz_cli IN.ekz --tensors OUT: all
 * tensors' bytes, one after the other. Exit codes: 0, or the decoder's status, with the reason on standard error. */
#include "ekz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long length;
    if (!file) return NULL;
    if (!fseek(file, 0, SEEK_END) && (length = ftell(file)) >= 0 && !fseek(file, 0, SEEK_SET)) {
        data = malloc((size_t)length + 1);
        if (data && fread(data, 1, (size_t)length, file) != (size_t)length) {
            free(data);
            data = NULL;
        }
        *size = (size_t)length;
    }
    fclose(file);
    return data;
}

static int write_file(struct ekz *box, const char *path, uint32_t index) {
    size_t size = index < box->file_count ? box->files[index].size : 0;
    uint8_t *out = malloc(size + 1);
    int status = out ? ekz_restore(box, index, out) : EKZ_NO_MEMORY;
    FILE *file = status ? NULL : fopen(path, "wb");
    if (file) {
        if (fwrite(out, 1, size, file) != size) status = EKZ_NO_MEMORY;
        if (fclose(file)) status = EKZ_NO_MEMORY;
    }
    free(out);
    return status;
}

static int write_tensors(struct ekz *box, const char *path) {
    FILE *file = fopen(path, "wb");
    int status = file ? EKZ_OK : EKZ_NO_MEMORY;
    for (uint32_t i = 0; file && i < box->tensor_count; i++) {
        const struct ekz_tensor *t = box->tensors + i;
        if (fwrite(t->data, 1, t->bytes, file) != t->bytes) status = EKZ_NO_MEMORY;
    }
    if (file && fclose(file)) status = EKZ_NO_MEMORY;
    return status;
}

int main(int argc, char **argv) {
    struct ekz box;
    size_t size = 0;
    uint8_t *data = argc > 1 ? read_whole(argv[1], &size) : NULL;
    if (!data) {
        fprintf(stderr, "usage: ekz_cli IN.ekz [OUT [INDEX] | --tensors OUT]\n");
        return 64;
    }
    int status = ekz_open(&box, data, size);
    if (!status && argc == 2)
        for (uint32_t i = 0; i < box.tensor_count; i++) printf("%s %zu\n", box.tensors[i].name, box.tensors[i].bytes);
    uint32_t index = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    if (!status && argc > 3 && !strcmp(argv[2], "--tensors")) status = write_tensors(&box, argv[3]);
    else if (!status && argc > 2) status = write_file(&box, argv[2], index);
    if (status) fprintf(stderr, "%s: %s\n", argv[1], box.error);
    ekz_close(&box);
    free(data);
    return status;
}
