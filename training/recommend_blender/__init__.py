"""The blend of all recommenders: from their candidates on the validation part to the component."""
