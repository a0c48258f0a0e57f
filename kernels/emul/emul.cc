//go:build emul && linux

// All kernels, compiled for the host.
#include "emul.h"
#include "hopper.h"
#include "mma.h"

#include "../attention.cu"
#include "../attention_mma.cu"
#include "../blur.cu"
#include "../classify.cu"
#include "../codes.cu"
#include "../conv.cu"
#include "../conv_mma.cu"
#include "../conv_sm90a.cu"
#include "../frames.cu"
#include "../fsq.cu"
#include "../gate.cu"
#include "../gateloop.cu"
#include "../geglu.cu"
#include "../lfq.cu"
#include "../lfq_floored.cu"
#include "../linear_attention.cu"
#include "../loss.cu"
#include "../modulate.cu"
#include "../norm.cu"
#include "../optimizer.cu"
#include "../pack.cu"
#include "../pad.cu"
#include "../pointwise.cu"
#include "../reduce.cu"
#include "../shift.cu"
#include "../shuffle.cu"

static const emul::Entry table[] = {
    KERNEL(act), KERNEL(act_grad), KERNEL(add), KERNEL(affine),
    KERNEL(act_half), KERNEL(act_grad_half), KERNEL(add_half), KERNEL(affine_half),
    KERNEL(adam_w),
    KERNEL(conv), KERNEL(conv_grad_x), KERNEL(conv_grad_w),
    KERNEL(conv_sm90a), KERNEL(conv_sum_sm90a), KERNEL(conv_grad_x_sm90a), KERNEL(conv_grad_x_sum_sm90a), KERNEL(conv_grad_w_sm90a),
    KERNEL(conv_mma_64), KERNEL(conv_grad_x_mma_64), KERNEL(conv_grad_w_mma_64),
    KERNEL(conv_mma_128), KERNEL(conv_grad_x_mma_128), KERNEL(conv_grad_w_mma_128),
    KERNEL(frame_dots), KERNEL(frame_dots_half), KERNEL(frame_softmax), KERNEL(weighted_rows), KERNEL(weighted_rows_half), KERNEL(product_rows), KERNEL(product_rows_half),
    KERNEL(frame_pool_grad_x), KERNEL(frame_pool_grad_x_8), KERNEL(frame_pool_grad_x_half), KERNEL(frame_pool_grad_x_8_half),
    KERNEL(squeeze_excite_grad_x), KERNEL(squeeze_excite_grad_x_8), KERNEL(squeeze_excite_grad_x_half), KERNEL(squeeze_excite_grad_x_8_half),
    KERNEL(frame_gate), KERNEL(frame_gate_8), KERNEL(frame_gate_half), KERNEL(frame_gate_8_half),
    KERNEL(fsq_quantize), KERNEL(fsq_grad), KERNEL(fsq_index), KERNEL(fsq_values),
    KERNEL(layer_norm), KERNEL(layer_norm_grad_x), KERNEL(layer_norm_grad_gamma), KERNEL(rms_norm), KERNEL(rms_norm_grad_x), KERNEL(rms_norm_grad_gamma), KERNEL(normalize), KERNEL(normalize_grad),
    KERNEL(layer_norm_odd), KERNEL(layer_norm_grad_x_odd), KERNEL(layer_norm_grad_gamma_odd), KERNEL(rms_norm_odd), KERNEL(rms_norm_grad_x_odd), KERNEL(rms_norm_grad_gamma_odd), KERNEL(normalize_odd), KERNEL(normalize_grad_odd),
    KERNEL(layer_norm_half), KERNEL(layer_norm_grad_x_half), KERNEL(layer_norm_grad_gamma_half), KERNEL(rms_norm_half), KERNEL(rms_norm_grad_x_half), KERNEL(rms_norm_grad_gamma_half), KERNEL(normalize_half), KERNEL(normalize_grad_half),
    KERNEL(layer_norm_odd_half), KERNEL(layer_norm_grad_x_odd_half), KERNEL(layer_norm_grad_gamma_odd_half), KERNEL(rms_norm_odd_half), KERNEL(rms_norm_grad_x_odd_half), KERNEL(rms_norm_grad_gamma_odd_half), KERNEL(normalize_odd_half), KERNEL(normalize_grad_odd_half),
    KERNEL(code_counts), KERNEL(lfq_sign), KERNEL(lfq_index), KERNEL(lfq_values), KERNEL(lfq_factors), KERNEL(matmul), KERNEL(lfq_terms), KERNEL(lfq_slopes), KERNEL(lfq_grad),
    KERNEL(pad_front), KERNEL(crop_front), KERNEL(concat_time), KERNEL(slice_time), KERNEL(slice_time_grad),
    KERNEL(pack_bf16), KERNEL(unfold_bf16), KERNEL(pack_bf16_half), KERNEL(unfold_bf16_half), KERNEL(transpose_bf16),
    KERNEL(pad_front_half), KERNEL(crop_front_half), KERNEL(concat_time_half), KERNEL(slice_time_half), KERNEL(slice_time_grad_half),
    KERNEL(pad_front_wide), KERNEL(crop_front_wide), KERNEL(concat_time_wide), KERNEL(slice_time_wide), KERNEL(slice_time_grad_wide),
    KERNEL(pad), KERNEL(pad_half), KERNEL(pad_8), KERNEL(pad_8_half), KERNEL(pad_grad), KERNEL(pad_grad_half), KERNEL(pad_grad_8), KERNEL(pad_grad_8_half),
    KERNEL(blur), KERNEL(blur_half), KERNEL(blur_8), KERNEL(blur_8_half),
    KERNEL(cross_entropy), KERNEL(cross_entropy_end), KERNEL(cross_entropy_grad),
    KERNEL(recon_loss), KERNEL(recon_loss_end), KERNEL(recon_loss_grad),
    KERNEL(shuffle), KERNEL(shuffle_2), KERNEL(shuffle_4), KERNEL(shuffle_half), KERNEL(shuffle_2_half), KERNEL(shuffle_4_half),
    KERNEL(attention), KERNEL(attention_rows), KERNEL(attention_grad_q), KERNEL(attention_grad_kv), KERNEL(attention_grad_memory),
    KERNEL(attention_mma), KERNEL(attention_grad_q_mma), KERNEL(attention_grad_kv_mma), KERNEL(attention_grad_memory_mma),
    KERNEL(attention_half), KERNEL(attention_rows_half), KERNEL(attention_grad_q_half), KERNEL(attention_grad_kv_half), KERNEL(attention_grad_memory_half),
    KERNEL(taylor_state_8), KERNEL(taylor_state_grad_8), KERNEL(taylor_apply_8), KERNEL(taylor_errors_8), KERNEL(taylor_grad_q_8), KERNEL(taylor_grad_kv_8),
    KERNEL(taylor_state_16), KERNEL(taylor_state_grad_16), KERNEL(taylor_apply_16), KERNEL(taylor_errors_16), KERNEL(taylor_grad_q_16), KERNEL(taylor_grad_kv_16),
    KERNEL(taylor_state_8_half), KERNEL(taylor_state_grad_8_half), KERNEL(taylor_apply_8_half), KERNEL(taylor_errors_8_half), KERNEL(taylor_grad_q_8_half), KERNEL(taylor_grad_kv_8_half),
    KERNEL(taylor_state_16_half), KERNEL(taylor_state_grad_16_half), KERNEL(taylor_apply_16_half), KERNEL(taylor_errors_16_half), KERNEL(taylor_grad_q_16_half), KERNEL(taylor_grad_kv_16_half),
    KERNEL(gateloop), KERNEL(gateloop_grad), KERNEL(geglu), KERNEL(geglu_grad), KERNEL(token_shift), KERNEL(token_shift_8),
    KERNEL(gateloop_half), KERNEL(gateloop_grad_half), KERNEL(geglu_half), KERNEL(geglu_grad_half), KERNEL(token_shift_half), KERNEL(token_shift_8_half),
    KERNEL(lfq_floored_entropies), KERNEL(lfq_floored_terms), KERNEL(lfq_floored_slopes), KERNEL(lfq_floored_grad),
    KERNEL(modulate), KERNEL(modulate_stats), KERNEL(modulate_grad_w), KERNEL(modulate_grad_s),
    KERNEL(sum_rows), KERNEL(sum_rows_half), KERNEL(sum_values), KERNEL(sum_squares), KERNEL(weighted_sum), KERNEL(spread), KERNEL(fill),
};

LIBRARY(table)
