"""`earmark service`, and whose people and wakes a command means where there is one."""
