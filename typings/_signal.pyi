"""The built-in module behind `signal`, which is cheaper to import."""

from signal import NSIG as NSIG
from signal import SIG_DFL as SIG_DFL
from signal import SIGRTMAX as SIGRTMAX
from signal import SIGRTMIN as SIGRTMIN
from signal import set_wakeup_fd as set_wakeup_fd
from signal import signal as signal
