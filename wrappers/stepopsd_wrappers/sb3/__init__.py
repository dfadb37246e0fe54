"""Text environments for stable-baselines3: texts become vectors, commands become numbers.

``EncodeText(AdmissibleActions(env))`` needs only gymnasium and numpy, `CandidateScorer` and `load_scorer`
need torch, and the policies the extra ``sb3``. Every name is imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
