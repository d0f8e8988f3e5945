# stsgate_test(FOLDER/test_NAME LIBRARY...): tests/FOLDER/test_NAME.c, a cmocka program, as one ctest.
function(stsgate_test path)
    get_filename_component(name ${path} NAME)
    add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/${path}.c)
    target_link_libraries(${name} PRIVATE ${ARGN} ${CMOCKA_LIBRARY})
    target_compile_definitions(${name} PRIVATE TESTS_DIR="${PROJECT_SOURCE_DIR}/tests")
    add_test(NAME ${path} COMMAND ${name})
    set_tests_properties(${path} PROPERTIES LABELS unit TIMEOUT 300)
endfunction()

# stsgate_fuzz(FOLDER/NAME LIBRARY...): FOLDER/NAME_fuzz.c over tests/corpus/NAME. Ordinary builds
# replay the corpus through it; -DSTSGATE_FUZZ=ON makes a libFuzzer program of it.
function(stsgate_fuzz path)
    get_filename_component(name ${path} NAME)
    add_executable(fuzz_${name} ${PROJECT_SOURCE_DIR}/${path}_fuzz.c)
    target_link_libraries(fuzz_${name} PRIVATE ${ARGN})
    if(STSGATE_FUZZ)
        target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    else()
        target_sources(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz_replay.c)
        add_test(NAME corpus/${name}
            COMMAND fuzz_${name} ${PROJECT_SOURCE_DIR}/tests/corpus/${name})
        set_tests_properties(corpus/${name} PROPERTIES LABELS unit TIMEOUT 120)
    endif()
endfunction()
