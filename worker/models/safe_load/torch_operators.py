"""Which of torch's operators a TorchScript or exported network may call: an allow-list.

torch registers some 1,700 operators, and libraries add theirs. Nearly all compute; but some write
files, print, warn, seed generators, or start work elsewhere, and a release may add more of them. So
an operator that is not known to compute is refused by name.
"""

from shared.bundles.allow_list import words

_ARITHMETIC = words("""
    addr adjoint chain_matmul conj conj_physical det ger i0 igamma igammac inverse logdet
    matrix_exp matrix_power mvlgamma polygamma slogdet stft istft trapezoid trapz _conj
    _conj_physical _neg_view __iand__ __ior__ __ixor__ __ilshift__ __irshift__ abs absolute acos
    acosh add addcdiv addcmul addmm addmv addbmm baddbmm angle arange arccos arccosh arcsin
    arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
    bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm ceil celu clamp clamp_max clamp_min
    clip cos cosh cross cumprod cumsum deg2rad diff digamma div divide dot einsum eq equal erf
    erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp gcd ge
    greater greater_equal gt heaviside hypot imag inner isclose isfinite isinf isnan isneginf
    isposinf isreal kron lcm ldexp le lerp less less_equal lgamma linear log log10 log1p log2
    logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt matmul maximum
    minimum mm mul multiply mv nan_to_num ne neg negative nextafter not_equal outer polar pow
    positive rad2deg real reciprocal remainder round rsqrt rsub sgn sigmoid sign signbit sin sinc
    sinh softmax sqrt square sub subtract tan tanh tensordot threshold true_divide trunc vdot
    where xlogy linalg_cross linalg_det linalg_inv linalg_matmul linalg_matrix_norm
    linalg_multi_dot linalg_norm linalg_solve linalg_vecdot linalg_vector_norm fft_fft fft_fft2
    fft_fftn fft_fftshift fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2
    fft_irfftn fft_rfft fft_rfft2 fft_rfftn fft_fftfreq fft_rfftfreq complex view_as_complex
    view_as_real
""")

_REDUCTIONS = words("""
    allclose argwhere corrcoef cov cumulative_trapezoid frobenius_norm gradient isin nuclear_norm
    pdist renorm _is_all_true _is_any_true _unique _aminmax _euclidean_dist all amax amin aminmax
    any argmax argmin argsort bincount bucketize cdist count_nonzero cummax cummin dist histc
    kthvalue logsumexp logcumsumexp max mean median min mode msort nanmean nanmedian nanquantile
    nansum norm prod quantile searchsorted sort std std_mean sum topk trace unique_consecutive
    unique_dim _unique2 var var_mean
""")

_SHAPES = words("""
    alias_copy bartlett_window blackman_window broadcast_shapes can_cast hamming_window
    hann_window kaiser_window diagonal_copy diagonal_scatter element_size expand_copy lift
    permute_copy promote_types range row_stack sum_to_size t_copy transpose_copy unfold_copy
    unsqueeze_copy vander zero _cast_Byte _cast_Char _cast_Short _infer_size _stack _unsafe_index
    _unsafe_index_put _unwrap_optional empty_permuted storage_offset is_pinned _dim_arange
    as_strided_copy alias as_strided as_tensor atleast_1d atleast_2d atleast_3d block_diag
    broadcast_tensors broadcast_to cartesian_prod cat chunk clone column_stack combinations concat
    concatenate contiguous copy copy_ detach detach_ diag diag_embed diagflat diagonal dsplit
    dstack empty empty_like empty_strided expand expand_as eye fill fill_diagonal_ flatten flip
    fliplr flipud full full_like gather hsplit hstack index index_add index_copy index_fill
    index_put index_put_ index_reduce index_select is_complex is_contiguous is_floating_point
    is_nonzero is_same_size is_signed item lift_fresh lift_fresh_copy linspace logspace
    masked_fill masked_scatter masked_select meshgrid movedim moveaxis narrow narrow_copy
    new_empty new_empty_strided new_full new_ones new_zeros nonzero nonzero_numpy numel numpy_T
    ones ones_like permute pixel_shuffle pixel_unshuffle put ravel repeat repeat_interleave
    requires_grad_ reshape reshape_as resolve_conj resolve_neg result_type roll rot90
    scalar_tensor scatter scatter_add scatter_reduce select select_copy select_scatter size slice
    slice_copy slice_scatter split split_with_sizes squeeze squeeze_copy stack stride swapaxes
    swapdims sym_numel sym_size sym_storage_offset sym_stride t take take_along_dim tensor
    tensor_split tile to to_dense transpose tril tril_indices triu triu_indices type_as unbind
    unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze view view_as
    view_copy vsplit vstack zero_ zeros zeros_like _reshape_alias _unsafe_view _to_copy
    _shape_as_tensor _cast_Float _cast_Double _cast_Half _cast_Int _cast_Long cpu cuda mT mH data
    dim dtype layout
""")

_LAYERS = words("""
    __interpolate __upsample __upsample_bilinear __upsample_nearest _addmm_activation
    _batch_norm_with_update _embedding_bag _masked_softmax _safe_softmax _slow_conv2d_forward
    _transform_bias_rescale_qkv conv_depthwise3d conv_tbc cosine_embedding_loss
    cudnn_convolution_add_relu cudnn_convolution_relu embedding_bag log_sigmoid_forward
    mkldnn_linear nll_loss2d nll_loss_forward pad_sequence slow_conv3d_forward slow_conv_dilated2d
    slow_conv_dilated3d slow_conv_transpose2d thnn_conv2d to_mkldnn rrelu_with_noise
    _pack_padded_sequence _pad_packed_sequence adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    affine_grid_generator alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear
    channel_shuffle col2im constant_pad_nd conv1d conv2d conv3d conv_transpose1d conv_transpose2d
    conv_transpose3d convolution convolution_overrideable cosine_similarity cudnn_batch_norm
    cudnn_convolution cudnn_convolution_transpose cudnn_is_acceptable dropout elu embedding
    feature_alpha_dropout feature_dropout fractional_max_pool2d fractional_max_pool3d gelu glu
    grid_sampler grid_sampler_2d grid_sampler_3d group_norm gru gru_cell hardshrink hardsigmoid
    hardswish hardtanh im2col instance_norm layer_norm leaky_relu log_sigmoid log_softmax lstm
    lstm_cell max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool2d max_unpool3d mish mkldnn_convolution mkldnn_max_pool3d
    native_batch_norm native_channel_shuffle native_dropout native_group_norm native_layer_norm
    one_hot pad pairwise_distance prelu reflection_pad1d reflection_pad2d reflection_pad3d relu
    relu6 replication_pad1d replication_pad2d replication_pad3d rms_norm rnn_relu rnn_relu_cell
    rnn_tanh rnn_tanh_cell rrelu scaled_dot_product_attention selu silu slow_conv3d
    slow_conv_transpose3d softplus softshrink special_expit special_expm1 special_log1p
    special_log_softmax special_logit special_softmax upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d _adaptive_avg_pool2d _adaptive_avg_pool3d _batch_norm_impl_index
    _batch_norm_no_update _convolution _convolution_mode _fused_rms_norm _log_softmax
    _native_batch_norm_legit _native_batch_norm_legit_no_training _native_multi_head_attention
    _pad_circular _pad_enum _prelu_kernel _scaled_dot_product_attention_math
    _scaled_dot_product_cudnn_attention _scaled_dot_product_efficient_attention
    _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu _softmax
    _thnn_fused_gru_cell _thnn_fused_lstm_cell _transformer_encoder_layer_fwd _trilinear
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm
    _weight_norm_interface binary_cross_entropy binary_cross_entropy_with_logits
    cross_entropy_loss huber_loss kl_div l1_loss mse_loss nll_loss nll_loss_nd smooth_l1_loss
""")

#: Random numbers, for variational parts of networks; they change only a generator's state.
_RANDOM = words("""
    bernoulli multinomial normal poisson rand rand_like randint randint_like randn randn_like
    randperm uniform
""")

#: Lists, dictionaries, texts and numbers of TorchScript itself. A text can only end in an error's
#: message, which is neither logged nor returned.
_LANGUAGE = words("""
    count capitalize center get_autocast_dtype hash isalnum isalpha isdigit islower isnumeric
    isspace isupper ljust lstrip percentFormat rfind rindex rjust rsplit rstrip set_grad_enabled
    splitlines title zfill _list_to_tensor _tensor_to_list grad Bool Complex ComplexImplicit Float
    FloatImplicit Int IntImplicit ScalarImplicit __and__ __contains__ __derive_index __getitem__
    __is__ __isnot__ __lshift__ __not__ __or__ __range_length __round_to_zero_floordiv __rshift__
    __xor__ _get_tracing_state _set_item append ceil clear degrees device dict divmod endswith
    extend factorial find floordiv format get get_device insert is_autocast_cpu_enabled
    is_autocast_enabled is_grad_enabled is_scripting items join keys len list lower ord pop
    popitem radians remove replace reverse setdefault sorted startswith str strip update upper
    values copysign fabs mathremainder modf NumToTensor RaiseException TupleIndex TupleUnpack
    Uninitialized is_cpu is_cuda is_meta is_mkldnn is_mps is_nested is_quantized is_sparse
    is_sparse_csr is_xla is_xpu itemsize min max name nbytes rangelist requires_grad tolist type
    unchecked_cast unchecked_unwrap_optional abs index
""")

#: An exported program's checks of its sizes.
_CHECKS = words("""
    _assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range
    sym_constrain_range_for_size _local_scalar_dense
""")

_PLAIN = _ARITHMETIC | _REDUCTIONS | _SHAPES | _LAYERS | _RANDOM | _LANGUAGE | _CHECKS

#: Names without a namespace; ``relu_`` is ``relu`` in place.
OPERATORS = _PLAIN | {f"{name}_" for name in _PLAIN if not name.endswith("_")}
