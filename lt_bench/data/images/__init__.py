"""Images: decoding, lists of image files, augmentation and the views of an extraction."""
