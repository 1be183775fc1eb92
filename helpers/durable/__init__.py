"""Jobs that survive the program: a queue in a table of PostgreSQL, and procrastinate, a package that is built on one.

children      runs a function in a process of its own that ends with ours, and replaces processes that are killed
child_main    what such a process runs
queue_table   a durable queue in about twenty lines of Python
delete_first  the same queue, but each job is deleted before its handler is called: for an exercise
welcome       the handler of notebook 13: it writes a row and sends a mail
mails         the same job as a task of procrastinate, with retries
stalled       a task of procrastinate that rescues the jobs of dead workers

A child process finds a function by the name of its module, so all functions for other processes are in files.
"""
