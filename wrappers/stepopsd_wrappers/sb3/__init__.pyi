from .actions import AdmissibleActions as AdmissibleActions
from .distance_reward import DistanceReward as DistanceReward
from .encode_text import EncodeText as EncodeText, TextFeatures as TextFeatures
from .encoders import (
    CachedEncoder as CachedEncoder,
    Encoder as Encoder,
    HashingEncoder as HashingEncoder,
    SentenceEncoder as SentenceEncoder,
    make_encoder as make_encoder,
)
from .features import EpisodeFeatures as EpisodeFeatures
from .held_out import HeldOutTasks as HeldOutTasks
from .policies import (
    CandidatePolicy as CandidatePolicy,
    CandidateQPolicy as CandidateQPolicy,
    MaskableCandidatePolicy as MaskableCandidatePolicy,
)
from .saved import SavedModelError as SavedModelError, load_scorer as load_scorer
from .scorer import CandidateScorer as CandidateScorer
from .vec_env import TextVecEnv as TextVecEnv
