"""The command line: options, messages, exit codes and progress bars."""
