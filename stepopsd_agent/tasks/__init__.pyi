from .base import (
    EvalSet as EvalSet,
    HeldOut as HeldOut,
    Lifted as Lifted,
    TaskSpec as TaskSpec,
    World as World,
)
from .make import (
    data_identity as data_identity,
    episodes_of as episodes_of,
    evaluation_total as evaluation_total,
    make_plain_env as make_plain_env,
    make_stack as make_stack,
    side_by_side as side_by_side,
    task_ids as task_ids,
)
from .registry import (
    evaluation_sets as evaluation_sets,
    get as get,
    instance_of as instance_of,
    lifted_of as lifted_of,
    names as names,
    register as register,
    response_format as response_format,
    spec_of as spec_of,
    system_message as system_message,
    unit_of as unit_of,
    world_keys as world_keys,
    world_number as world_number,
    worlds_of as worlds_of,
)
from .settings import (
    constructor_settings as constructor_settings,
    env_arguments as env_arguments,
    env_section as env_section,
    eval_section as eval_section,
)
