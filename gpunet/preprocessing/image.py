"""Single images: the functions of `gpunet.utils.images`."""

from gpunet.utils.images import array_to_img, img_to_array, load_img, save_img

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img"]
