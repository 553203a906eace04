"""The networks, their losses, their training and their export as SavedModels."""
