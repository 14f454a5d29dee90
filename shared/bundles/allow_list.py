"""Which callables a bundle's configuration may name: an allow-list, and how a name is read.

A bundle's configuration works like a program: ``_target_`` names a callable, and its arguments are
beside it. MONAI and torch contain much that reads files, fetches from the network, unpickles or
starts programs, so no package is allowed as a whole: each name below was reviewed. A name is never
resolved attribute by attribute; its last part is looked up here, and means one full name.
"""

from shared.errors import ModelError


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


_TRANSFORM_BASES = words("""
    Activations AddCoordinateChannels AdjustContrast ApplyPending AsChannelLast AsDiscrete
    BorderPad CastToType CenterScaleCrop CenterSpatialCrop ClipIntensityPercentiles
    ConvertToMultiChannelBasedOnBratsClasses CropForeground DistanceTransformEDT DivisiblePad
    EnsureType FillHoles Flip ForegroundMask GaussianSharpen GaussianSmooth HistogramNormalize
    Identity Invert KeepLargestConnectedComponent LabelFilter LabelToMask Lambda MapLabelValue
    MaskIntensity MeanEnsemble MedianSmooth NormalizeIntensity Orientation RemoveRepeatedChannel
    RemoveSmallObjects RepeatChannel Resize ResizeWithPadOrCrop Rotate90 ScaleIntensity
    ScaleIntensityRange ScaleIntensityRangePercentiles ShiftIntensity Spacing SpatialCrop
    SpatialPad SplitDim SqueezeDim StdShiftIntensity ThresholdIntensity ToDevice ToNumpy ToTensor
    Transpose VoteEnsemble Zoom
""")

#: Transforms that exist for dictionaries only.
_DICTIONARY_BASES = words("ConcatItems CopyItems DeleteItems SelectItems ToMetaTensor")

#: VoxelQ itself reads and writes files and arranges channels. In a configuration these transforms
#: only mark where that happens; they are never built.
_BOUNDARY_BASES = words("""
    AddChannel AsChannelFirst EnsureChannelFirst LoadImage SaveImage
""")

_NETWORKS = words("""
    AttentionUnet BasicUNet BasicUNetPlusPlus BasicUnet BasicUnetPlusPlus DiNTS DynUNet DynUnet
    HighResNet MedNeXt RegUNet SegResNet SegResNetDS SegResNetDS2 SegResNetVAE SwinUNETR
    TopologyInstance UNETR UNet Unet VNet
""")

_INFERERS = words("SimpleInferer SliceInferer SlidingWindowInferer SlidingWindowInfererAdapt")

_TORCH = words("""
    abs all amax amin any arange argmax argmin as_tensor bool cat ceil clamp concat device exp flip
    float float16 bfloat16 float32 float64 floor full full_like gt int int16 int32 int64 int8 isnan
    log logical_and logical_not logical_or long lt max maximum mean min minimum movedim nan inf pi
    ones ones_like permute relu round sigmoid softmax sqrt squeeze stack std sum tanh tensor
    transpose uint8 unsqueeze where zeros zeros_like
    backends.cudnn.is_available cuda.is_available
    nn.functional.interpolate nn.functional.leaky_relu nn.functional.log_softmax
    nn.functional.one_hot nn.functional.pad nn.functional.relu nn.functional.sigmoid
    nn.functional.softmax
""")

_TORCH_MODULES = words("""
    AdaptiveAvgPool3d AvgPool3d BatchNorm3d Conv3d ConvTranspose3d Dropout Dropout3d ELU Flatten
    GELU GroupNorm Identity InstanceNorm3d LeakyReLU Linear MaxPool3d ModuleDict ModuleList PReLU
    ReLU Sequential SiLU Sigmoid Softmax Softplus Tanh Unflatten Upsample
""")

_NUMPY = words("""
    bool_ float16 float32 float64 inf int16 int32 int64 int8 nan pi uint16 uint32 uint8
""")

#: VoxelQ's own network, and the full name that it has in bundles written for earlier versions.
_OWN_NETWORK = "worker.models.brain_tumor.network.UNet3D"
_OWN_NETWORK_BEFORE = "worker.network.UNet3D"


def _spellings(base: str) -> tuple[str, ...]:
    """MONAI's names of a transform, for arrays and for dictionaries."""
    return (base, f"{base}d", f"{base}D", f"{base}Dict")


#: A name without its module -> its full name.
_MONAI_NAMES = (
    {name: f"monai.transforms.{name}" for base in _TRANSFORM_BASES for name in _spellings(base)}
    | {
        name: f"monai.transforms.{name}"
        for base in _DICTIONARY_BASES
        for name in _spellings(base)[1:]
    }
    | {"Compose": "monai.transforms.Compose"}
    | {name: f"monai.networks.nets.{name}" for name in _NETWORKS}
    | {name: f"monai.inferers.{name}" for name in _INFERERS}
)

BOUNDARIES = frozenset(name for base in _BOUNDARY_BASES for name in _spellings(base))

#: Full names that an expression or a ``_target_`` may use.
ALLOWED = frozenset(
    {f"torch.{name}" for name in _TORCH}
    | {f"torch.nn.{name}" for name in _TORCH_MODULES}
    | {f"numpy.{name}" for name in _NUMPY}
    | set(_MONAI_NAMES.values())
    | {_OWN_NETWORK}
)

#: Modules that an expression may begin with, and their full names.
ROOTS = {"torch": "torch", "monai": "monai", "numpy": "numpy", "np": "numpy"}


def full_name(name: str) -> str:
    """Return what a ``_target_`` means, as ``package.module.Name``.

    Raises:
        ModelError: A bundle may not use the name.
    """
    if name == _OWN_NETWORK_BEFORE:
        return _OWN_NETWORK
    *modules, last = name.split(".")
    known = _MONAI_NAMES.get(last)
    if known is not None:
        home = known.rpartition(".")[0]
        if not modules or name == known or name.startswith(f"{home}."):
            return known
    root = ROOTS.get(modules[0]) if modules else None
    full = ".".join([root, *modules[1:], last]) if root else name
    if full in ALLOWED:
        return full
    raise ModelError(
        f"{name} may not be used. A bundle may name MONAI's transforms, networks and inferers "
        "for volumes, what torch computes with, and VoxelQ's own network; nothing that reads or "
        "writes files, runs programs or fetches anything."
    )


def is_boundary(name: str) -> bool:
    """Tell whether a transform only marks where a scan is read or a mask is written."""
    last = name.rpartition(".")[2]
    return last in BOUNDARIES and (name == last or name.startswith("monai.transforms."))
