#include "go_asm.h"
#include "textflag.h"

// func narrowRGB(dst *float32, in *byte, cols []tap, unit float32)
TEXT ·narrowRGB(SB), NOSPLIT, $0-44
	MOVQ         dst+0(FP), DI
	MOVQ         in+8(FP), SI
	MOVQ         cols_base+16(FP), R8
	MOVQ         cols_len+24(FP), CX
	VBROADCASTSS unit+40(FP), X7

pixel:
	MOVQ   tap_from(R8), AX
	LEAQ   (AX)(AX*2), AX
	ADDQ   SI, AX
	MOVQ   tap_weight(R8), BX
	MOVQ   tap_weight+8(R8), DX
	VXORPS X0, X0, X0

term:
	VPMOVZXBD    (AX), X1        // r, g, b and the next pixel's r
	VCVTDQ2PS    X1, X1
	VBROADCASTSS (BX), X2
	VMULPS       X1, X2, X1
	VADDPS       X1, X0, X0
	ADDQ         $3, AX
	ADDQ         $4, BX
	DECQ         DX
	JNZ          term
	VMULPS       X7, X0, X0
	VMOVUPS      X0, (DI)
	ADDQ         $12, DI
	ADDQ         $tap__size, R8
	DECQ         CX
	JNZ          pixel
	RET

// func sumLines(dst []float32, lines *float32, weight []float32)
TEXT ·sumLines(SB), NOSPLIT, $0-56
	MOVQ         dst_base+0(FP), DI
	MOVQ         dst_len+8(FP), CX
	MOVQ         lines+24(FP), SI
	MOVQ         weight_base+32(FP), R8
	MOVQ         weight_len+40(FP), R9
	LEAQ         (CX*4), R10          // bytes of a row
	MOVL         $0x3f800000, AX      // 1
	VMOVD        AX, X7
	VPERMILPS    $0, X7, X7
	VINSERTF128  $1, X7, Y7, Y7

block:
	CMPQ CX, $16
	JLT  rest
	MOVQ SI, AX
	MOVQ R8, BX
	MOVQ R9, DX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1

row16:
	VBROADCASTSS (BX), Y2
	VMULPS       (AX), Y2, Y3
	VMULPS       32(AX), Y2, Y4
	VADDPS       Y3, Y0, Y0
	VADDPS       Y4, Y1, Y1
	ADDQ         R10, AX
	ADDQ         $4, BX
	DECQ         DX
	JNZ          row16
	VMINPS       Y0, Y7, Y0           // the second source where one is NaN: the sum
	VMINPS       Y1, Y7, Y1
	VMOVUPS      Y0, (DI)
	VMOVUPS      Y1, 32(DI)
	ADDQ         $64, SI
	ADDQ         $64, DI
	SUBQ         $16, CX
	JMP          block

rest:
	TESTQ CX, CX
	JZ    done

one:
	MOVQ   SI, AX
	MOVQ   R8, BX
	MOVQ   R9, DX
	VXORPS X0, X0, X0

row1:
	VMOVSS (BX), X2
	VMULSS (AX), X2, X3
	VADDSS X3, X0, X0
	ADDQ   R10, AX
	ADDQ   $4, BX
	DECQ   DX
	JNZ    row1
	VMINSS X0, X7, X0
	VMOVSS X0, (DI)
	ADDQ   $4, SI
	ADDQ   $4, DI
	DECQ   CX
	JNZ    one

done:
	VZEROUPPER
	RET
