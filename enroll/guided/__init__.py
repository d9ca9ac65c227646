"""The conversation of an enrolment at the microphone."""
