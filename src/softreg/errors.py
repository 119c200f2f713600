"""The errors that a user can act on."""


class UserError(Exception):
    """Bad input. Its text is one sentence that names the file, the key and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """
