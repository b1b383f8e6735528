"""Keys of Lightning Pose and Hydra configs that have no counterpart here; they are named to the user and not read."""

from __future__ import annotations

FOREIGN_KEYS = frozenset(
    {
        # sections
        *("dali", "callbacks", "hydra", "litpose", "wandb"),
        # what the other system records about a run
        *("creation_datetime", "model_name", "lightning_pose_version"),
        *("model.creation_datetime", "model.model_name", "model.lightning_pose_version"),
        # data of unsupervised losses and of other kinds of model
        *("data.mirrored_column_matches", "data.columns_for_singleview_pca", "data.image_orig_dims"),
        *("data.header_rows", "data.image_delimiter", "data.dataset_names"),
        *("model.do_context", "training.gpu_id", "training.profiler"),
        # older evaluation scripts
        *("eval.hydra_paths", "eval.fiftyone", "eval.saved_vid_preds_dir", "eval.video_file_to_plot"),
        *("eval.pred_csv_files_to_plot", "eval.colormap_reverse"),
        # unsupervised losses: templates carry their parameters even where model.losses_to_use is empty
        *("losses.pca_multiview", "losses.pca_singleview", "losses.temporal"),
        *("losses.unimodal_mse", "losses.unimodal_kl", "losses.unimodal_js"),
        *("losses.temporal_heatmap_mse", "losses.temporal_heatmap_kl", "losses.temporal_heatmap_js"),
    }
)
"""Full dotted keys; a section stands for everything in it."""


def is_foreign(dotted: str) -> bool:
    """Whether a dotted key belongs to another system and has no counterpart here."""
    return dotted in FOREIGN_KEYS
