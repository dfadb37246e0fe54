from .auditing import (
    AuditError as AuditError,
    AuditReport as AuditReport,
    audit as audit,
    check_episodes as check_episodes,
    name_some as name_some,
)
from .batch import (
    KINDS as KINDS,
    Batch as Batch,
    Episodes as Episodes,
    Steps as Steps,
    Table as Table,
    Tokens as Tokens,
    column_fields as column_fields,
    columns as columns,
    owner as owner,
)
from .collating import (
    Row as Row,
    batch_from_lists as batch_from_lists,
    collate as collate,
    group_numbers as group_numbers,
    penalise_invalid as penalise_invalid,
    sampled_steps as sampled_steps,
)
from .declaring import ColumnSources as ColumnSources, register_column as register_column
from .parts import Past as Past, TopK as TopK, Transitions as Transitions
from .spans import (
    SPANS as SPANS,
    Span as Span,
    kind_masks as kind_masks,
    place_in_step as place_in_step,
    span_mask as span_mask,
)
