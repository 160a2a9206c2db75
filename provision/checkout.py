"""Tell the Python environment that runs this where its checkout is: in the folder above it, wherever that is.

By a line of code and not by the folder's name, which would have to be read in whatever encoding the locale has; and a
copy of the checkout finds itself, and not the original. Likewise `fab`, which finds its Python beside itself.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

Path(sysconfig.get_path("purelib"), "stacklab.pth").write_text(
    "import os, sys; sys.path.append(os.path.dirname(sys.prefix))\n"
)
fab = Path(sys.prefix, "bin", "fab")
shutil.copyfile(Path(__file__).with_name("files") / "fab", fab)
fab.chmod(0o755)
