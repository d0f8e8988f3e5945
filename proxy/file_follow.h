/* proxy/file_follow.h: a file that others append to and now and then put another one in the place
 * of, as logrotate does. Context: command line. */
#ifndef STSGATE_PROXY_FILE_FOLLOW_H
#define STSGATE_PROXY_FILE_FOLLOW_H

#include <stdbool.h>

struct file_follow;

/** path: borrowed until file_follow_free(); its folder must be there, the file need not. NULL, and
 * errno says why: the folder cannot be watched, or there is no memory. */
struct file_follow *file_follow_new(const char *path);
void file_follow_free(struct file_follow *follow); /* closes what is open; NULL is allowed */

/** The file that the path stands for, at its start; waits for there to be one. The one before is
 * closed. The descriptor stays its property. -1, and errno: it cannot be opened. */
int file_follow_open(struct file_follow *follow);

/** All has been read. True: there is more now. False: the path stands for another file, and
 * nothing more is in this one. */
bool file_follow_wait(struct file_follow *follow);

#endif
