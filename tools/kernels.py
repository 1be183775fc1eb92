"""The settings of the kernels that the tools start."""

from jupyter_client.manager import KernelManager
from traitlets.config import Config

QUIET = Config()
if hasattr(KernelManager, "transport_encryption"):  # since jupyter_client 8.10, kernels warn without a key
    QUIET.KernelManager.transport_encryption = "auto"
