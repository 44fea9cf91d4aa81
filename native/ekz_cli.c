/* ekz_cli IN.ekz: list the tensors. ekz_cli IN.ekz OUT [INDEX]: restore a file. ekz_cli IN.ekz --tensors OUT: all
 * tensors' bytes, one after the other. Exit codes: 0, the decoder's status, 4 where OUT cannot be written (whole),
 * 64 where IN.ekz cannot be read; with the reason on standard error. */
#include "ekz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CANNOT_WRITE = 4, USAGE = 64 };

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

static int write_whole(const char *path, const struct ekz_tensor *pieces, uint32_t count) {
    FILE *file = fopen(path, "wb");
    int written = file != NULL;
    for (uint32_t i = 0; written && i < count; i++)
        written = fwrite(pieces[i].data, 1, pieces[i].bytes, file) == pieces[i].bytes;
    if (file && fclose(file)) written = 0;
    if (written) return 0;
    perror(path);
    return CANNOT_WRITE;
}

static int write_file(struct ekz *box, const char *path, uint32_t index) {
    struct ekz_tensor whole = {0};
    int status;
    whole.bytes = index < box->file_count ? box->files[index].size : 0;
    whole.data = malloc(whole.bytes + 1);
    if (!whole.data) {
        fprintf(stderr, "%s: not enough memory\n", path);
        return EKZ_NO_MEMORY;
    }
    status = ekz_restore(box, index, whole.data);
    if (status) fprintf(stderr, "%s: %s\n", path, box->error);
    else status = write_whole(path, &whole, 1);
    free(whole.data);
    return status;
}

int main(int argc, char **argv) {
    struct ekz box;
    size_t size = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: ekz_cli IN.ekz [OUT [INDEX] | --tensors OUT]\n");
        return USAGE;
    }
    uint8_t *data = read_whole(argv[1], &size);
    if (!data) {
        fprintf(stderr, "%s: cannot be read\n", argv[1]);
        return USAGE;
    }
    int status = ekz_open(&box, data, size);
    if (status) fprintf(stderr, "%s: %s\n", argv[1], box.error);
    else if (argc == 2)
        for (uint32_t i = 0; i < box.tensor_count; i++) printf("%s %zu\n", box.tensors[i].name, box.tensors[i].bytes);
    else if (argc > 3 && !strcmp(argv[2], "--tensors")) status = write_whole(argv[3], box.tensors, box.tensor_count);
    else status = write_file(&box, argv[2], argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0);
    ekz_close(&box);
    free(data);
    return status;
}
