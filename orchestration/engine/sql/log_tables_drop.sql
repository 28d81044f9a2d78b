drop table orchestration_logline, orchestration_loghead;
