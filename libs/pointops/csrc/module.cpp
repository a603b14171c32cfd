// The module pointops._compiled. Importing it registers the operators of torch.ops.pointops; it tells what it was built for.
#include <Python.h>

#define STRING(...) #__VA_ARGS__
#define EXPANDED(...) STRING(__VA_ARGS__)

PyMODINIT_FUNC PyInit__compiled() {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_compiled", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  PyObject* module = PyModule_Create(&definition);
  if (module != nullptr && PyModule_AddStringConstant(module, "ARCHITECTURES", EXPANDED(ARCHITECTURES)) < 0) {
    Py_DECREF(module);
    return nullptr;
  }
  return module;
}
