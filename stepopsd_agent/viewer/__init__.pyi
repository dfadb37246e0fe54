from .content import page_data as page_data
from .credits import add_credit as add_credit
from .html import is_page as is_page, page as page
from .source import (
    Shown as Shown,
    Source as Source,
    StepCredit as StepCredit,
    read_source as read_source,
    source_labels as source_labels,
)
from .terminal import episode_text as episode_text, list_text as list_text
