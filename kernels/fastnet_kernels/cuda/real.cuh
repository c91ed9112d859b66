// The floating type of parameters, activations and gradients.
#pragma once

#ifndef REAL
#define REAL float
#endif
