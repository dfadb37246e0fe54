from .backend import EngineBackend as EngineBackend, opened_backend as opened_backend
from .base import Draw as Draw, Engine as Engine
from .colocated import Colocated as Colocated
from .drawing import drawn as drawn, noise_fields as noise_fields, read_noise as read_noise
from .errors import EngineError as EngineError
from .ray_actors import RayActors as RayActors
from .requests import Requests as Requests
from .server import Server as Server
from .weights import engine_weights as engine_weights, save_for_engine as save_for_engine
