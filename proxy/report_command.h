/* proxy/report_command.h: `stsgate report`: what TLSRPT has counted and what became of each report;
 * reads the store that the policy process writes, or makes one in memory from record files.
 * Context: command line, run by an administrator. */
#ifndef STSGATE_PROXY_REPORT_COMMAND_H
#define STSGATE_PROXY_REPORT_COMMAND_H

/** argv[0] is "report". Exit status: 0 done; 1 there is nothing of the kind, or something failed,
 * the reason is on standard error; 2 wrong usage or configuration. */
int report_main(int argc, char **argv);

#endif
