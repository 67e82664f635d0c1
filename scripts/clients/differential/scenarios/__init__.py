"""What is asked of both engines. Each scenario is a function of a client; its steps are compared by their names."""

from .containers import changing, creation, files, lists, living, refusals
from .images import image_changes, image_documents, image_refusals
from .networks import network_changes, network_refusals
from .prepare import exchange, prepare
from .streams import attaching, drivers, executing, logging, waiting
from .system import absent, documents, system
from .volumes import mounts, volumes

WHOLE = [creation, refusals, living, changing, lists, files, logging, drivers, attaching, executing, waiting, image_documents,
         image_changes, image_refusals, volumes, mounts, network_changes, network_refusals, system, absent]
DOCUMENTS = [documents]
