"""The runs on this server: what there is and whose, the queue and its workers, and the models they made."""
