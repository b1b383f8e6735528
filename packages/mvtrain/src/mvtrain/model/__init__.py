"""Multi-view transformer: a pretrained ViT over the patches of all views, a heatmap head, and its decoding."""
