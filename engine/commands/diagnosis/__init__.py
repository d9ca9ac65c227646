"""Beside the doctor's single checks: the whole path on recordings, a file for a report; and `people verify`."""
