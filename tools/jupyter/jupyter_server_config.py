"""The settings of JupyterLab for the series: `make lab` names this folder in JUPYTER_CONFIG_PATH.

Jupyter runs this file and gives it `c`, the settings. `labconfig/` beside it turns off the question about news.
"""

import json
import platform
from pathlib import Path

import nbformat
from jupyter_client.manager import KernelManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat.sign import NotebookNotary
from tornado.log import gen_log


class SeriesFiles(AsyncLargeFileManager):
    """Notebooks that stay as they are when somebody with another Python only looks at them.

    A notebook names the version of the Python that ran it. If the reader's is another one, JupyterLab marks the
    notebook as changed as soon as it is open, and soon saves it. So JupyterLab is told its own version, and the file
    keeps its version.
    """

    async def get(self, path, *args, **options):
        model = await super().get(path, *args, **options)
        set_version(model, platform.python_version())
        return model

    async def save(self, model, path=""):
        file = Path(self._get_os_path(path))
        if model.get("type") == "notebook" and file.exists():
            set_version(model, version(json.loads(file.read_text(encoding="utf-8"))))
        return await super().save(model, path)


def version(notebook):
    return notebook["metadata"].get("language_info", {}).get("version")


def set_version(model, new):
    """Change the version in the model of a notebook that has one, unless `new` is None."""
    if model.get("type") == "notebook" and model.get("content") and new and version(model["content"]):
        model["content"]["metadata"]["language_info"]["version"] = new


def sign(folder):
    """Trust the notebooks of this checkout, whose code its owner is about to run anyway. Without it, each one warns."""
    notary = NotebookNotary()
    for path in sorted(folder.rglob("*.ipynb")):
        notary.sign(nbformat.read(path, as_version=4))


def heed(record):
    """Drop one warning, which is about Jupyter's own numbers: it counts in ms what Tornado takes for seconds."""
    return "websocket_ping_timeout" not in record.getMessage()


gen_log.addFilter(heed)
sign(Path(__file__).parents[2] / "notebooks")
c = get_config()  # noqa: F821  # Jupyter defines it
c.ServerApp.contents_manager_class = SeriesFiles
if hasattr(KernelManager, "transport_encryption"):  # since jupyter_client 8.10: kernels warn if they have no key
    c.KernelManager.transport_encryption = "auto"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
