"""From a trained model to tables of keypoints."""
