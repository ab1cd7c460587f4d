"""harness.data.records, where others look for it."""

from harness.data.records import fingerprint as fingerprint
from harness.data.records import sample_from_record as sample_from_record
