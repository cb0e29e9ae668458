"""Programs built from Go modules, pinned, once."""
import os
import re
import shutil
import subprocess

from installs import Unavailable

OLDEST = (1, 24)


def environment(**more):
    """For building without C, reproducibly, by the Go that is there. Raises Unavailable without one that is new enough."""
    go = shutil.which("go")
    told = subprocess.run([go, "version"], stdout=subprocess.PIPE, text=True, check=False).stdout if go else ""
    found = re.search(r"go(\d+)\.(\d+)", told)
    oldest = more.pop("oldest", OLDEST)
    if not found or tuple(map(int, found.groups())) < oldest:
        raise Unavailable(f"needs Go {'.'.join(map(str, oldest))} or newer in PATH to be built; " + (f"{go} is {found.group()}" if found else "there is none"))
    return dict(os.environ, GOTOOLCHAIN="local", CGO_ENABLED="0", GOFLAGS="-trimpath -buildvcs=false", **more)
