log_emit(&MSG_TURN_GOOD);
log_emit(&MSG_TURN_TWICE);
log_emit(&MSG_TURN_LEVEL);
log_emit(&MSG_TURN_CASE);
log_emit(&MSG_TURN_MUTE);
log_emit(&MSG_TURN_NO_ADVICE);
log_emit(&MSG_TURN_ADVISED);
log_emit(&MSG_STUN_TWICE);
