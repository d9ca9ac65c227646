"""Enrolment: runs for a minute when a person joins."""
