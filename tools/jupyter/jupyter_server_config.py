"""The settings of JupyterLab for the series. `make lab` adds this folder to JUPYTER_CONFIG_PATH.

Jupyter runs this file and provides `c`, the settings. The folder `labconfig/` turns off the question about news.
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
    """A contents manager that keeps a notebook unchanged if a reader with another version of Python only opens it.

    A notebook has the version of the Python that ran it. If the reader's Python has another version, JupyterLab marks
    the notebook as changed when it is opened, and then saves it. So this class passes the reader's version to
    JupyterLab and keeps the stored version in the file.
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
    """Change the version in the model of a notebook, if it has a version and `new` is not None."""
    if model.get("type") == "notebook" and model.get("content") and new and version(model["content"]):
        model["content"]["metadata"]["language_info"]["version"] = new


def sign(folder):
    """Mark the notebooks of this checkout as trusted. Otherwise JupyterLab warns about each of them."""
    notary = NotebookNotary()
    for path in sorted(folder.rglob("*.ipynb")):
        notary.sign(nbformat.read(path, as_version=4))


def is_relevant(record):
    """Return False for one warning of Tornado. Jupyter passes its ping timeout in ms, and Tornado expects seconds."""
    return "websocket_ping_timeout" not in record.getMessage()


gen_log.addFilter(is_relevant)
sign(Path(__file__).parents[2] / "notebooks")
c = get_config()  # noqa: F821  # Jupyter defines it
c.ServerApp.contents_manager_class = SeriesFiles
if hasattr(KernelManager, "transport_encryption"):  # since jupyter_client 8.10, kernels warn without a key
    c.KernelManager.transport_encryption = "auto"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
