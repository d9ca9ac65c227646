"""What the doctor does beside its single checks: the whole path on recordings, and a file for a report."""
