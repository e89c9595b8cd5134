"""Files of tensors: which a checkpoint holds, and what each module takes in them."""
