"""``stepopsd check-model``: can a model be played and scored exactly, before any run."""

from jsonargparse import Namespace

from stepopsd_agent.cli.checks import check_device, settings_checked
from stepopsd_agent.cli.parser import Parser
from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import get

HELP = "check that a model can be played and scored exactly, and name what to change where it cannot"
USES: frozenset[str] = frozenset()


def add_flags(parser: Parser) -> None:
    """The model, and how it is asked."""
    parser.description = f"{parser.description} Exit code 0: every check is passed; 2: some are not."
    parser.usage = "stepopsd check-model PATH [--device DEVICE] [--chat auto|on|off] [--system TEXT]"
    parser.add_argument("path", type=str, help="model folder or hub name, as model.path")
    parser.add_argument("--gguf_file", type=str, default=None, help="name of a GGUF file inside the folder")
    parser.add_argument("--device", type=str, default="cpu", help='"cpu", "cuda" or "cuda:N"')
    parser.add_argument(
        "--chat", choices=["auto", "on", "off"], default="auto", help="as model.chat (default: auto)"
    )
    parser.add_argument(
        "--system", type=str, default=None, help="as model.system (default: the message of ALFWorld)"
    )


def run(settings: Namespace) -> int:
    """Print each check with its outcome; 2 where there is a problem."""
    from stepopsd_agent.models import load_policy, model_problems

    check_device(settings.device)
    system = get(EnvConfig().id).system if settings.system is None else settings.system
    with settings_checked():
        policy = load_policy(
            settings.path,
            device=settings.device,
            gguf_file=settings.gguf_file,
            chat=settings.chat,
            system=system,
            checked=False,
        )
    faults = model_problems(policy)
    for name, problems in faults.items():
        print(f"{name}: {'; '.join(problems) if problems else 'ok'}")
    return 2 if any(faults.values()) else 0
