"""Becomes a server: writes who it is into a record, then drops privileges and executes the command.

    launch.py RECORD USER COMMAND…

The process writes its own record before it is the server, so a server never runs that no record names, whatever becomes of its starter.
"""
import json
import os
import pwd
import sys

from processes import started_at


def main():
    record, user, *command = sys.argv[1:]
    draft = record + ".new"
    with open(draft, "w", encoding="utf-8") as out:
        json.dump({"pid": os.getpid(), "started": started_at(os.getpid()), "command": command[0]}, out)
    os.rename(draft, record)
    if user and os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    os.umask(0o077)
    os.execvp(command[0], command)


main()
