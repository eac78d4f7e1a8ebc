"""What turns accepted replies into a new policy. A trainer's one method is `train(network, rows, start, folder)`."""
